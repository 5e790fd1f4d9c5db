"""Studies: grids of jobs whose rows are the evidence for or against the paper's claims."""
