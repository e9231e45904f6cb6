"""Published data sets in the layout in which they are published, each as an ImageTable."""
