"""Formats of other programs, one line each: what is read, what is written."""

from __future__ import annotations

from physgen.ensemble.plain import PLAIN

IMPORTS = {
    "camels_maps": "CAMELS Multifield Dataset, 2-D maps (Maps_*.npy and the table of parameters)",
    "camels_grids": "CAMELS Multifield Dataset, 3-D grids (Grids_*.npy and the table of parameters)",
    "quijote": "Quijote density fields: df_m_*.npy cubes, 2-D df_z=*.npy, BSQ counts df_m_*.hdf5",
    "gadget": "particle snapshots of Gadget, Quijote, CAMELS (HDF5, one or several files), painted: cells=64",
    "massive_nus": "MassiveNuS convergence maps: convergence_6redshifts_mnv*_om*_As*/Maps*/WLconv_z*_*r.fits",
    "ktng": "kappaTNG convergence maps: LP*_run*_maps.hdf5, or kappa*.dat records of before 2024",
    "the_well": "layout of The Well (HDF5): a trajectory a sample, or each of its steps",
    "npy": "fields of your own in .npy, .npz or .pt; give box_size, and labels if there are any",
    "hdf5": "fields of your own in HDF5, data=maps/Mcdm",
    "fits": "FITS images or cubes, compressed or not, one field a file",
}
EXPORTS = {
    "npy": "CAMELS-like: fields (n, [components,] *grid) and NAME_params.txt, a row for each simulation in turn",
    "hdf5": PLAIN["hdf5"],
    "fits": "a folder of FITS images, one field each: BOXSIZE, OMEGAM, SIGMA8, REDSHIFT, BUNIT in the header",
    "the_well": "one HDF5 file in the layout of The Well, a trajectory of one step for each field",
}
