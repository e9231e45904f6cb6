"""What a text on a run is made of: numbers with their sources, cited works, paragraphs, checklists."""
