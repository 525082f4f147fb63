"""From verified records to tables: tidy frame, summary, grid, then Markdown, LaTeX, CSV and the terminal. No torch."""
