"""What a run holds, as figures and one HTML page."""
