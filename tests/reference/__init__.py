"""Plain, slow and literal versions of the method, and small graphs and models to compare with them."""
