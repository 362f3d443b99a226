"""Sohl-Dickstein et al. 2015 (arXiv:1503.03585) again: its rows that need no download, beside truth or bound."""
