"""The three small languages of the configuration: domains, fields, labels."""
