"""Measured tables: published figures reproduced, peers side by side, goals with their intervals."""
