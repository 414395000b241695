"""Labels as spreadsheets and as Label Studio tasks."""
