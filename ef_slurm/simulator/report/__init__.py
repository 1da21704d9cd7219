"""Reports of simulations: tables for the terminal, an HTML page, a PNG figure."""
