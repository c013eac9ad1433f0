//! The alarms of a stack.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sluice_simulated::alarm_rule::{AlarmRule, Comparison, Missing, Query};
use sluice_simulated::cloudwatch::MetricName;
use sluice_simulated::metric_math::Expression;

use crate::template::Stack;

/// An alarm as its template has it.
#[derive(Debug, Clone)]
pub struct TemplateAlarm {
    /// `AlarmDescription`.
    pub description: String,
    /// `AlarmActions`.
    pub actions: Vec<String>,
    /// How it is evaluated.
    pub rule: AlarmRule,
}

impl TemplateAlarm {
    /// The metrics that it looks at.
    pub fn metrics(&self) -> impl Iterator<Item = (&MetricName, &str)> {
        self.rule.queries.values().filter_map(|query| match query {
            Query::Metric(metric, statistic) => Some((metric, statistic.as_str())),
            Query::Math(_) => None,
        })
    }
}

/// The alarms of a stack by name, without the stack's. One that CloudFormation names goes by its
/// logical ID.
#[must_use]
pub fn alarms(stack: &Stack, stack_name: &str) -> BTreeMap<String, TemplateAlarm> {
    let of_kind = stack.resources.iter().filter(|(_, r)| r.kind == "AWS::CloudWatch::Alarm");
    of_kind
        .map(|(id, resource)| {
            let properties = &resource.properties;
            let name = properties["AlarmName"].as_str().map_or(&**id, |name| {
                let prefix = format!("{stack_name}-");
                name.strip_prefix(&prefix).unwrap_or_else(|| panic!("{name} is not the stack's"))
            });
            (name.to_owned(), alarm(properties))
        })
        .collect()
}

fn alarm(properties: &Json) -> TemplateAlarm {
    let mut queries = BTreeMap::new();
    let mut compared = "metric".to_owned();
    let mut period_seconds = 0.0;
    if let Some(period) = properties.get("Period") {
        period_seconds = number_of(period);
        queries.insert(compared.clone(), metric_query(properties, statistic(properties)));
    }
    for query in properties["Metrics"].as_array().into_iter().flatten() {
        let id = query["Id"].as_str().expect("an ID").to_owned();
        if query["ReturnData"] != Json::Bool(false) {
            compared.clone_from(&id);
        }
        let parsed = match query["Expression"].as_str() {
            Some(expression) => {
                Query::Math(Expression::parse(expression).unwrap_or_else(|error| panic!("{error}")))
            }
            None => {
                let stat = &query["MetricStat"];
                period_seconds = number_of(&stat["Period"]);
                metric_query(&stat["Metric"], stat["Stat"].as_str().expect("a statistic"))
            }
        };
        queries.insert(id, parsed);
    }
    let evaluation_periods = number_of(&properties["EvaluationPeriods"]) as u64;
    let datapoints = properties.get("DatapointsToAlarm").map(|count| number_of(count) as u64);
    let actions = properties["AlarmActions"].as_array().into_iter().flatten();
    TemplateAlarm {
        description: properties["AlarmDescription"].as_str().expect("a description").to_owned(),
        actions: actions.map(|arn| arn.as_str().expect("an ARN").to_owned()).collect(),
        rule: AlarmRule {
            queries,
            compared,
            period_seconds: period_seconds as u64,
            comparison: comparison(&properties["ComparisonOperator"]),
            threshold: number_of(&properties["Threshold"]),
            evaluation_periods,
            datapoints_to_alarm: datapoints.unwrap_or(evaluation_periods),
            missing: missing(&properties["TreatMissingData"]),
        },
    }
}

fn metric_query(metric: &Json, statistic: &str) -> Query {
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let dimensions: Vec<(String, String)> = metric["Dimensions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|dimension| (text(&dimension["Name"]), text(&dimension["Value"])))
        .collect();
    let borrowed: Vec<(&str, &str)> =
        dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let name =
        MetricName::new(&text(&metric["Namespace"]), &text(&metric["MetricName"]), &borrowed);
    Query::Metric(name, statistic.to_owned())
}

fn statistic(properties: &Json) -> &str {
    let either = properties["Statistic"].as_str().or(properties["ExtendedStatistic"].as_str());
    either.expect("a statistic")
}

fn comparison(operator: &Json) -> Comparison {
    match operator.as_str().expect("an operator") {
        "GreaterThanThreshold" => Comparison::Greater,
        "GreaterThanOrEqualToThreshold" => Comparison::GreaterOrEqual,
        "LessThanThreshold" => Comparison::Less,
        "LessThanOrEqualToThreshold" => Comparison::LessOrEqual,
        other => panic!("{other} is not played here"),
    }
}

fn missing(treatment: &Json) -> Missing {
    match treatment.as_str().unwrap_or("missing") {
        "missing" => Missing::Insufficient,
        "ignore" => Missing::Ignored,
        "breaching" => Missing::Breaching,
        "notBreaching" => Missing::NotBreaching,
        other => panic!("there is no treatment {other}"),
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn number_of(value: &Json) -> f64 {
    value.as_f64().unwrap_or_else(|| number(value.as_str().expect("a number")))
}
