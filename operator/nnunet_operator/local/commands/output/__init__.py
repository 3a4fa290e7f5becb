"""What commands print: tables of objects, progress while it goes on, the last word."""
