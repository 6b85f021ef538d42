"""The worker: does what is due, in `po-api serve` or in a process of its own. `po_api.work` lists what that is."""
