"""The harness of moved data: strata, calibration, corruption, and whether confidence notices."""
