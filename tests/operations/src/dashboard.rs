//! The dashboards of a stack.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sluice_simulated::cloudwatch::MetricName;
use sluice_simulated::metric_math::Expression;

use crate::template::Stack;

/// Properties of a metric widget, as far as they are used. ("Dashboard body structure and syntax",
/// as of those of the other kinds; Nov 2026)
const METRIC_PROPERTIES: &[&str] = &[
    "annotations",
    "metrics",
    "period",
    "region",
    "sparkline",
    "stacked",
    "stat",
    "title",
    "view",
    "yAxis",
];

/// What a widget shows or computes with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// A metric with its statistic.
    Metric(MetricName, String),
    /// What a `SEARCH` finds: namespace, names of the dimensions, name of the metric.
    Search(String, Vec<String>, String),
}

/// What kind of widget it is, and what only that kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Graphs or numbers of metrics.
    Metric,
    /// The states of these alarms, by their names.
    Alarms(Vec<String>),
    /// The answer to a query of Logs Insights.
    Log(String),
    /// Markdown.
    Text(String),
}

/// A widget.
#[derive(Debug)]
pub struct Widget {
    /// `title`; of a text its first line.
    pub title: String,
    /// Its kind.
    pub kind: Kind,
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
    let text = |name: &str| properties[name].as_str().unwrap_or_else(|| panic!("{name}: {widget}"));
    let kind = match widget["type"].as_str().expect("a type") {
        "metric" => Kind::Metric,
        "alarm" => {
            let alarms = properties["alarms"].as_array().expect("alarms").iter();
            Kind::Alarms(alarms.map(|arn| alarm_name(arn.as_str().expect("an ARN"))).collect())
        }
        "log" => Kind::Log(text("query").to_owned()),
        "text" => Kind::Text(text("markdown").to_owned()),
        other => panic!("{other} is not played here"),
    };
    let title = match &kind {
        Kind::Text(markdown) => markdown.lines().next().expect("a line").to_owned(),
        _ => text("title").to_owned(),
    };
    let expected: &[&str] = match &kind {
        Kind::Metric => METRIC_PROPERTIES,
        Kind::Alarms(_) => &["alarms", "sortBy", "title"],
        Kind::Log(_) => &["query", "region", "title", "view"],
        Kind::Text(_) => &["markdown"],
    };
    for name in properties.as_object().expect("properties").keys() {
        assert!(expected.contains(&name.as_str()), "{title}: no property {name}");
    }
    let usual = properties["stat"].as_str().unwrap_or("Average");
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut expressions = Vec::new();
    let metrics = properties["metrics"].as_array();
    assert_eq!(metrics.is_some(), kind == Kind::Metric, "{title}");
    for row in metrics.into_iter().flatten() {
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
        kind,
        columns: (place("x"), place("x") + place("width")),
        rows: (place("y"), place("y") + place("height")),
        shown,
        unknown,
    }
}

/// The name in an ARN, of which a resource's own is its name with `.Arn`.
fn alarm_name(arn: &str) -> String {
    let name = arn.split_once(":alarm:").map(|(_, name)| name).or(arn.strip_suffix(".Arn"));
    name.unwrap_or_else(|| panic!("{arn} is no alarm's")).to_owned()
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
