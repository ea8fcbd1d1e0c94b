"""The scripts that tutorials teach, to measure ptools beside them."""
