"""The filter language of LangSmith's API: from its text to a typed tree, and from that to SQL or a yes or no.

    filter    = call
    call      = function "(" [ argument { "," argument } ] ")"
    argument  = call | field | literal
    literal   = string | number | "true" | "false" | "null" | "[" [ literal { "," literal } ] "]"
    string    = in "…" or '…'; a backslash takes the next character as it is, but \\n, \\r, \\t and \\uXXXX are read

    logic       and(filter, …)   or(filter, …)   not(filter)
    comparison  eq neq gt gte lt lte (field, value)   in(field, [value, …])   like(field, "%pattern_")
    holding     has(tags, "tag")   has(metadata, '{"key": "value"}')   exists(metadata, "key")
    words       search("text")   search(field, "text")

Every condition is true or false, also where a run says nothing: `neq` is exactly what `eq` is not, and nothing is
greater or less than null. The modules, in the order in which a text passes through them:

- `syntax`: text to calls, names and literals with their places in the text.
- `reading`: those to `conditions`, the typed tree, by the `fields` there are.
- `compiling`: a condition to SQL, exactly or as bounds of what may and what must match.
- `evaluating`: a condition to a yes or no about one run, where SQL gave bounds only.
"""
