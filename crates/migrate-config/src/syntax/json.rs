//! JSON: the span of every key and value, strictly parsed.

use jsonc_parser::ast::{Object, Value as Ast};
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{KeySpan, Node, NodeKind, Property, Span, bom_length};

/// What is wrong with a text, where.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

/// The spans of a strict JSON document.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let bom = bom_length(text);
    let body = &text[bom..];
    let parsed =
        parse_to_ast(body, &CollectOptions::default(), &strict()).map_err(|error| SyntaxError {
            offset: bom + error.range().start,
            message: lower_first(&error.kind().to_string()),
        })?;
    let root = parsed.value.ok_or_else(|| SyntaxError {
        offset: text.len(),
        message: "the document is empty".to_owned(),
    })?;
    Ok(node(&root, bom))
}

fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn node(value: &Ast<'_>, shift: usize) -> Node {
    let kind = match value {
        Ast::Object(object) => NodeKind::Object(properties(object, shift)),
        Ast::Array(array) => {
            NodeKind::Array(array.elements.iter().map(|v| node(v, shift)).collect())
        }
        _ => NodeKind::Scalar,
    };
    Node {
        span: span(value.range(), shift),
        kind,
    }
}

fn properties(object: &Object<'_>, shift: usize) -> Vec<Property> {
    object
        .properties
        .iter()
        .map(|property| Property {
            keys: vec![KeySpan {
                name: property.name.as_str().to_owned(),
                span: span(property.name.range(), shift),
            }],
            value: node(&property.value, shift),
        })
        .collect()
}

fn span(range: Range, shift: usize) -> Span {
    range.start + shift..range.end + shift
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => message.to_owned(),
    }
}
