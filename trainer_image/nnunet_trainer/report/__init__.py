"""What people look at: progress.png while a fold trains, and a table of runs when they are done."""
