"""The audit of an account's credentials: a pure library over IAM's credential reports.

The way from a row to a finding:

    rows      the lines of a report become rows, damaged ones with what is wrong with them
    facts     a row becomes the facts of a user: what is enabled, and how long ago things happened
    rules     questions about the facts, each answered YES, NO, or BROKEN where a cell does not tell
    findings  an answer that is not NO becomes a finding: words, dates, what to do next
    keys      every access key becomes a record that says whether it need exist at all

`account` has the findings that no user's row gives, `standards` where each rule comes from. `run`
leads all rows that way and counts (`counts`, and `study` for the tables of the published study);
`outputs` and `page` write what comes of it. `model` has the words for all of this, and `context`
what an audit knows besides the report.
"""
