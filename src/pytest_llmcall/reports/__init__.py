"""Reports: what people and machines read of outcomes. They format and write; they decide nothing."""
