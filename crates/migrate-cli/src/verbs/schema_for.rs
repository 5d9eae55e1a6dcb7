//! JSON Schemas, so that editors complete and check what people write.

use clap::{Args, ValueEnum};

use crate::exit;
use crate::report::Output;

/// Of what.
#[derive(Debug, Args)]
pub(crate) struct SchemaForArgs {
    /// What is written: a plan, or etlrs-migrate.toml.
    #[arg(value_enum)]
    what: What,
}

/// What people write.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// A plan in migrations/plans/.
    Plan,
    /// etlrs-migrate.toml.
    Config,
}

const PLAN: &str = include_str!("../../schemas/plan.schema.json");
const CONFIG: &str = include_str!("../../schemas/config.schema.json");

/// `schema-for plan|config`.
pub(crate) fn run(args: &SchemaForArgs, output: &Output) -> u8 {
    output.text(match args.what {
        What::Plan => PLAN,
        What::Config => CONFIG,
    });
    exit::DONE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use clap::Parser as _;
    use migrate_core::{Scripts, StepRegistry, plan_check};
    use serde_json::Value;

    use super::{CONFIG, PLAN};
    use crate::args::Cli;
    use crate::deployment::Settings;
    use crate::plans::Migrations;

    fn names<'a>(fields: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        fields.into_iter().map(str::to_owned).collect()
    }

    #[track_caller]
    fn keys(schema: &Value, pointer: &str) -> BTreeSet<String> {
        let found = schema.pointer(pointer).and_then(Value::as_object);
        let found = found.unwrap_or_else(|| panic!("{pointer} is in the schema"));
        names(found.keys().map(String::as_str))
    }

    /// The fields that serde knows, from what it says of one that it does not know.
    #[track_caller]
    fn known(before: &str) -> BTreeSet<String> {
        let text = format!("{before}\nno_such_field = 1\n");
        let error = toml_edit::de::from_str::<Settings>(&text).unwrap_err();
        let (_, listed) = error.message().split_once("expected").unwrap();
        names(listed.split('`').skip(1).step_by(2))
    }

    /// The kinds as the tool registers them; nothing is opened.
    fn registry() -> StepRegistry {
        let root = std::env::temp_dir();
        let arguments = ["etlrs-migrate", "-C", root.to_str().unwrap()];
        let database = ["--database-url", "sqlite:not-there.db"];
        let cli = Cli::try_parse_from(arguments.iter().chain(&database)).unwrap();
        let wired = crate::wire::Wired::unconnected(&cli.global).unwrap();
        let scripts: Arc<dyn Scripts> = Arc::new(Migrations::find(&root, None).unwrap());
        wired.registry(&scripts)
    }

    #[tokio::test]
    async fn the_plans_schema_has_every_field_of_the_code() {
        let schema: Value = serde_json::from_str(PLAN).unwrap();
        for (pointer, fields) in [
            ("/properties", plan_check::PLAN_FIELDS),
            ("/definitions/step/properties", plan_check::STEP_FIELDS),
            (
                "/definitions/data_migration/properties",
                plan_check::DATA_FIELDS,
            ),
            ("/definitions/check/properties", plan_check::CHECK_FIELDS),
        ] {
            assert_eq!(
                keys(&schema, pointer),
                names(fields.iter().copied()),
                "{pointer}"
            );
        }
        let registry = registry();
        let mut told = BTreeSet::new();
        for kind in schema["definitions"]["step"]["allOf"].as_array().unwrap() {
            let name = kind["if"]["properties"]["step_type"]["const"]
                .as_str()
                .unwrap();
            let fields = registry.get(name).unwrap().extra_fields();
            let expected = names(fields.iter().copied());
            assert_eq!(keys(kind, "/then/properties"), expected, "{name}");
            let all = kind["then"]["propertyNames"]["enum"].as_array().unwrap();
            let all = names(all.iter().filter_map(Value::as_str));
            let steps = names(plan_check::STEP_FIELDS.iter().copied());
            assert_eq!(all, &expected | &steps, "{name}");
            told.insert(name.to_owned());
        }
        assert_eq!(told, names(registry.names()));
    }

    #[test]
    fn the_configs_schema_has_every_field_of_the_code() {
        let schema: Value = serde_json::from_str(CONFIG).unwrap();
        for (pointer, before) in [
            ("/properties", ""),
            ("/definitions/backup/properties", "[backup]"),
            ("/definitions/service/properties", "[services.a]"),
            (
                "/definitions/health/properties",
                "[services.a]\nmanager = \"systemd\"\n[services.a.health]",
            ),
            ("/definitions/environment/properties", "[env.a]"),
        ] {
            assert_eq!(keys(&schema, pointer), known(before), "{pointer}");
        }
    }
}
