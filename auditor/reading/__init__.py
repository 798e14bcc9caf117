"""The boundary that every file of a user crosses: measured before it is read, and refused in words."""
