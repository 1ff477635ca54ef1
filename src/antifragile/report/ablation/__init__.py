"""Tables, figure and page of an ablation study."""
