"""One drawing and one photo explained: maps, matched regions, why not another photo."""
