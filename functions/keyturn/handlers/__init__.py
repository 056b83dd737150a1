"""One thin module per Lambda function: parse, call, answer."""
