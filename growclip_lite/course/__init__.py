"""What the notebooks need beside the method: exercises, predictions, figures, and one module of plumbing a lesson."""
