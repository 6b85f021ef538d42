"""po-api: from a purchase order request to an issued purchase order."""
