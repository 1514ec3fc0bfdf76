"""Model servers behind one port."""
