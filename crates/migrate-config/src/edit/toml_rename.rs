//! Giving keys and tables of TOML text another path.

use migrate_core::Finding;
use serde_json::Value;

use super::splice::{Splice, splice};
use super::toml_insert::{New, insert};
use super::toml_place::Target;
use super::{Edit, NewTable, model, render, toml};
use crate::key_path::{KeyPath, PathStep};
use crate::syntax::toml::{Layout, LineKind, layout};
use crate::syntax::{Format, KeySpan, NodeKind};

/// The text with a key renamed or moved; `None` if it is written in a way that does not allow it.
pub(crate) fn rename(
    text: &str,
    layout: &Layout,
    values: &Value,
    from: &KeyPath,
    to: &KeyPath,
    place: NewTable,
) -> Option<Result<String, Finding>> {
    let (old_parent, _) = from.split_last()?;
    let (new_parent, name) = to.split_last()?;
    let PathStep::Key(name) = name else {
        return None;
    };
    let target = layout.find(from)?;
    if let Target::Table(lines) = &target {
        return table(text, layout, lines, from, to).map(Ok);
    }
    if old_parent == new_parent {
        let key = last_key(layout, &target)?;
        let key = Splice::replace(key.span.clone(), render::key(Format::Toml, name));
        return Some(Ok(splice(text, vec![key])));
    }
    let new = moved(text, layout, &target)?;
    let without = toml::remove(text, layout, from)?;
    let mut values = values.clone();
    let taken = Edit::Remove { path: from.clone() };
    if let Err(finding) = model::apply(&mut values, &taken, Format::Toml) {
        return Some(Err(finding));
    }
    let rest = self::layout(&without);
    Some(insert(&without, &rest, &values, to, &new, place))
}

fn last_key<'l>(layout: &'l Layout, target: &Target<'l>) -> Option<&'l KeySpan> {
    match target {
        Target::Entry(line) => layout.entry(*line)?.0.keys.last(),
        Target::Inside { holder, index } => match &holder.kind {
            NodeKind::Object(properties) => properties[*index].keys.last(),
            _ => None,
        },
        Target::Table(_) => None,
    }
}

/// A value with its comments, ready to be written elsewhere.
fn moved(text: &str, layout: &Layout, target: &Target<'_>) -> Option<New<'static>> {
    match target {
        Target::Entry(line) => {
            let (property, _) = layout.entry(*line)?;
            let span = &layout.lines[*line].span;
            let above = text[layout.block_start(*line)..span.start]
                .lines()
                .map(|comment| comment.trim_start_matches('\u{feff}').trim().to_owned());
            let behind = text[property.value.span.end..span.end].trim_end();
            let key_end = property.keys.last()?.span.end;
            let equals = &text[key_end..property.value.span.start];
            let value = &text[property.value.span.clone()];
            Some(New::moved(value, equals, above.collect(), behind))
        }
        Target::Inside { holder, index } => match &holder.kind {
            NodeKind::Object(properties) => {
                let value = &text[properties[*index].value.span.clone()];
                Some(New::moved(value, " = ", Vec::new(), ""))
            }
            _ => None,
        },
        Target::Table(_) => None,
    }
}

/// Renames a table wherever a header or a dotted key goes through it.
fn table(
    text: &str,
    layout: &Layout,
    lines: &[usize],
    from: &KeyPath,
    to: &KeyPath,
) -> Option<String> {
    let mut splices = Vec::new();
    for line in lines {
        let (keys, skipped) = match &layout.lines[*line].kind {
            LineKind::Header { keys, .. } => (keys, 0),
            LineKind::Entry {
                property, table, ..
            } if !table.starts_with(from) => (&property.keys, table.steps().len()),
            _ => continue,
        };
        if skipped > 0 && !to.starts_with(&KeyPath::root_of(from, skipped)) {
            return None;
        }
        let old = names(&from.steps()[skipped..])?;
        let new = names(&to.steps()[skipped..])?;
        // What both begin with stays as the file writes it.
        let shared = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let shared = shared.min(old.len() - 1).min(new.len() - 1);
        let span = keys.get(shared)?.span.start..keys.get(old.len() - 1)?.span.end;
        let text = render::dotted(new[shared..].iter().copied());
        splices.push(Splice::replace(span, text));
    }
    Some(splice(text, splices))
}

/// The names of keys; `None` if an array is on the way.
fn names(steps: &[PathStep]) -> Option<Vec<&str>> {
    steps
        .iter()
        .map(|step| match step {
            PathStep::Key(key) => Some(key.as_str()),
            PathStep::Index(_) => None,
        })
        .collect()
}
