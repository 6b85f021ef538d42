"""Filing: the documents of orders in the folder of their organisation, in Google Drive or in a directory."""
