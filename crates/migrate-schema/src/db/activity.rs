//! What is shown of what other sessions do.

/// SQL that gives the query of a row `a` of `pg_stat_activity`: one line, at most so many letters,
/// without texts in quotes, which may be people's data or secrets. A text that the server cut off
/// has no end.
pub fn shown_query(most: u32) -> String {
    format!(
        r"left(regexp_replace(regexp_replace(regexp_replace(coalesce(a.query, ''), '''[^'']*(''|$)', '''...''', 'g'), '\$\w*\$.*', '$...'), '\s+', ' ', 'g'), {most})"
    )
}
