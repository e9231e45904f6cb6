"""A page on which people label images, and the record of what they said."""
