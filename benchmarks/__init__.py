"""What the method costs on a machine: `python dev.py bench`. For developers; neither the nodes nor the core import it."""
