"""Labels as spreadsheets and as tasks of Label Studio."""
