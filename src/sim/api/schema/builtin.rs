//! The types of the built-in kinds, from a table.
//!
//! `builtin_types.txt` has one line for each type: its name, then `field:type`. A type is a letter
//! (`s` text, `i` 32 and `l` 64 bit integer, `n` number, `b` boolean, `y` base64, `t` and `m` time,
//! `q` quantity, `x` integer or text, `o` anything), the name of another line, `[T]` for a list or
//! `{T}` for a map, with `!` inside where entries are merged as one value. Behind it stand `!` merged as one value, `#` a set, `@a,b` a list that is a map
//! by these fields, `^a` merged by a strategic merge patch (by this field), `~` with
//! `retainKeys`, `*` required, `?` kept when it is zero, `+` written even when it is missing. The
//! facts are those of the API server's `/openapi/v2` and of the field tags of its Go types.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::{Form, ListKind, Schema};

const TABLE: &str = include_str!("builtin_types.txt");

/// The type `name`; a type that takes anything when there is no such line.
pub(crate) fn builtin_schema(name: &str) -> Arc<Schema> {
    static TYPES: OnceLock<BTreeMap<&'static str, Arc<Schema>>> = OnceLock::new();
    let types = TYPES.get_or_init(read_table);
    types.get(name).cloned().unwrap_or_else(|| Arc::new(anything()))
}

fn read_table() -> BTreeMap<&'static str, Arc<Schema>> {
    let lines: BTreeMap<&str, &str> =
        TABLE.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut done = BTreeMap::new();
    for name in lines.keys() {
        struct_of(name, &lines, &mut done);
    }
    done
}

type Done = BTreeMap<&'static str, Arc<Schema>>;
type Lines = BTreeMap<&'static str, &'static str>;

fn struct_of(name: &'static str, lines: &Lines, done: &mut Done) -> Arc<Schema> {
    if let Some(schema) = done.get(name) {
        return schema.clone();
    }
    let mut schema = Schema { form: Form::Object, name, ..Schema::default() };
    for field in lines.get(name).copied().unwrap_or_default().split_whitespace() {
        let Some((field, of)) = field.split_once(':') else { continue };
        let mut rest = of;
        let mut typed = type_of(&mut rest, lines, done);
        let is_required = modifiers(&mut typed, rest);
        // The only defaults that are keys of lists.
        if matches!(name, "ContainerPort" | "ServicePort") && field == "protocol" {
            typed.default = Some("TCP".into());
        }
        if is_required {
            schema.required.push(field.to_owned());
        }
        schema.properties.insert(field.to_owned(), Arc::new(typed));
    }
    let schema = Arc::new(schema);
    done.insert(name, schema.clone());
    schema
}

/// Takes a type from the front of `rest`.
fn type_of(rest: &mut &'static str, lines: &Lines, done: &mut Done) -> Schema {
    if let Some(inner) = rest.strip_prefix('[') {
        *rest = inner;
        let mut items = type_of(rest, lines, done);
        if let Some(after) = rest.strip_prefix('!') {
            items.is_atomic = true;
            *rest = after;
        }
        *rest = rest.strip_prefix(']').unwrap_or(rest);
        return Schema { form: Form::Array, items: Some(Arc::new(items)), ..Schema::default() };
    }
    if let Some(inner) = rest.strip_prefix('{') {
        *rest = inner;
        let values = type_of(rest, lines, done);
        *rest = rest.strip_prefix('}').unwrap_or(rest);
        let additional = Some(Arc::new(values));
        return Schema { form: Form::Object, additional, ..Schema::default() };
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    let form = match name {
        "s" | "y" | "t" | "m" => Form::String,
        "i" | "l" => Form::Integer,
        "n" => Form::Number,
        "b" => Form::Boolean,
        "x" | "q" => Form::IntOrString,
        "o" => return anything(),
        _ => return Schema::clone(&struct_of(name, lines, done)),
    };
    Schema { form, name, ..Schema::default() }
}

const MARKS: [char; 8] = ['!', '#', '@', '^', '~', '*', '?', '+'];

/// Applies what stands behind a type; whether the field is required.
fn modifiers(schema: &mut Schema, mut rest: &str) -> bool {
    let mut is_required = false;
    while let Some(mark) = rest.chars().next() {
        let after = rest.get(mark.len_utf8()..).unwrap_or_default();
        let end = after.find(MARKS).unwrap_or(after.len());
        let (word, next) = after.split_at(end);
        match mark {
            '!' => schema.is_atomic = true,
            '#' => schema.list = ListKind::Set,
            '@' => schema.list = ListKind::Map(word.split(',').map(str::to_owned).collect()),
            '^' => schema.patch.merge_key = Some(word.to_owned()),
            '~' => schema.patch.retains_keys = true,
            '*' => is_required = true,
            '?' => schema.is_pointer = true,
            '+' => schema.is_always = true,
            _ => {}
        }
        rest = next;
    }
    is_required
}

fn anything() -> Schema {
    Schema { preserves_unknown: true, ..Schema::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_fields_keys_of_lists_and_patch_rules() {
        let pod = builtin_schema("PodSpec");
        let containers = pod.field("containers").unwrap();
        assert_eq!(containers.list, ListKind::Map(vec!["name".to_owned()]));
        assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
        let ports = containers.items.as_ref().unwrap().field("ports").unwrap();
        let keys = vec!["containerPort".to_owned(), "protocol".to_owned()];
        assert_eq!(ports.list, ListKind::Map(keys));
        assert!(pod.field("nodeSelector").unwrap().is_atomic);
        assert!(pod.required.contains(&"containers".to_owned()));
        assert!(pod.field("volumes").unwrap().patch.retains_keys);
    }

    #[test]
    fn every_name_in_the_table_is_a_line_of_it() {
        let lines: BTreeMap<&str, &str> =
            TABLE.lines().filter_map(|line| line.split_once(' ')).collect();
        for (name, fields) in &lines {
            for field in fields.split_whitespace() {
                let of = field.split_once(':').unwrap().1;
                let end = of.find(MARKS).unwrap_or(of.len());
                let word =
                    of.split(['[', ']', '{', '}', '!']).find(|word| !word.is_empty()).unwrap();
                let word = word[..word.find(MARKS).unwrap_or(word.len())].to_owned();
                let word = word.as_str();
                assert!(end <= of.len());
                assert!(word.len() == 1 || lines.contains_key(word), "{name}: {field}");
            }
        }
    }
}
