"""Networks on periodic lattices: a U-Net in one to three dimensions and message passing on bonds. torch only."""
