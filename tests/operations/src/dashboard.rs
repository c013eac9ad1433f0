//! The dashboards of a stack.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sluice_cloud::cloudwatch::MetricName;
use sluice_cloud::metric_math::Expression;

use crate::template::Stack;

/// What a widget shows or computes with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// A metric with its statistic.
    Metric(MetricName, String),
    /// What a `SEARCH` finds: namespace, names of the dimensions, name of the metric.
    Search(String, Vec<String>, String),
}

/// A widget.
#[derive(Debug)]
pub struct Widget {
    /// `title`.
    pub title: String,
    /// Where it lies: from and to, in columns and in rows.
    pub columns: (u64, u64),
    /// As above.
    pub rows: (u64, u64),
    /// What it shows.
    pub shown: BTreeSet<Shown>,
    /// Names in its expressions that no metric of it has.
    pub unknown: Vec<String>,
}

/// The widgets of all dashboards of a stack.
///
/// # Panics
/// When a dashboard is no JSON of the right shape.
#[must_use]
pub fn dashboards(stack: &Stack) -> Vec<Widget> {
    let of_kind = stack.resources.values().filter(|r| r.kind == "AWS::CloudWatch::Dashboard");
    let bodies = of_kind.map(|dashboard| {
        let body = dashboard.properties["DashboardBody"].as_str().expect("a body");
        let body: Json = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
        body["widgets"].as_array().expect("widgets").iter().map(widget).collect::<Vec<_>>()
    });
    bodies.flatten().collect()
}

fn widget(widget: &Json) -> Widget {
    let place = |name: &str| widget[name].as_u64().unwrap_or_else(|| panic!("{name}"));
    let properties = &widget["properties"];
    let title = properties["title"].as_str().expect("a title").to_owned();
    let usual = properties["stat"].as_str().unwrap_or("Average");
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut expressions = Vec::new();
    for row in properties["metrics"].as_array().unwrap_or_else(|| panic!("{title}: no metrics")) {
        let row = row.as_array().expect("a row");
        let (texts, options): (Vec<&Json>, Vec<&Json>) =
            row.iter().partition(|one| one.is_string());
        let options = options.first().copied().unwrap_or(&Json::Null);
        if let Some(id) = options["id"].as_str() {
            assert!(ids.insert(id.to_owned()), "{title}: {id} twice");
        }
        if let Some(text) = options["expression"].as_str() {
            let parsed = Expression::parse(text).unwrap_or_else(|e| panic!("{title}: {e}"));
            expressions.push(parsed);
            continue;
        }
        let texts: Vec<&str> = texts.into_iter().filter_map(Json::as_str).collect();
        let [namespace, name, dimensions @ ..] = &texts[..] else { panic!("{title}: {texts:?}") };
        let dimensions: Vec<(&str, &str)> =
            dimensions.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let statistic = options["stat"].as_str().unwrap_or(usual).to_owned();
        shown.insert(Shown::Metric(MetricName::new(namespace, name, &dimensions), statistic));
    }
    let mut unknown = Vec::new();
    for expression in &expressions {
        let names = expression.names().into_iter().filter(|name| *name != "REPEAT");
        unknown.extend(names.filter(|name| !ids.contains(*name)).map(str::to_owned));
        let searches = expression.texts().into_iter().filter(|text| text.starts_with('{'));
        shown.extend(searches.map(search));
    }
    Widget {
        title,
        columns: (place("x"), place("x") + place("width")),
        rows: (place("y"), place("y") + place("height")),
        shown,
        unknown,
    }
}

/// `{Namespace,Dimension,…} MetricName="…" …`
fn search(text: &str) -> Shown {
    let (schema, terms) = text[1..].split_once('}').expect("a schema");
    let mut schema = schema.split(',').map(str::to_owned);
    let namespace = schema.next().expect("a namespace");
    let mut dimensions: Vec<String> = schema.collect();
    dimensions.sort();
    let (_, name) = terms.split_once("MetricName=\"").expect("a metric's name");
    let (name, _) = name.split_once('"').expect("a quote");
    Shown::Search(namespace, dimensions, name.to_owned())
}
