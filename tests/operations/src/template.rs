//! CloudFormation, as far as the templates use it: parameters, conditions, intrinsic functions and
//! loops. Nothing is created; what would be is looked at.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json};
use serde_yaml_ng::Value as Yaml;

/// A template.
#[derive(Debug)]
pub struct Template {
    root: Yaml,
}

/// A resource of a stack.
#[derive(Debug, Clone)]
pub struct Resource {
    /// `Type`.
    pub kind: String,
    /// Its properties, resolved.
    pub properties: Json,
}

/// A launched template.
#[derive(Debug)]
pub struct Stack {
    /// Resources by logical ID; those whose condition does not hold are left out.
    pub resources: BTreeMap<String, Resource>,
}

impl Template {
    /// Reads a template of `infra/`.
    ///
    /// # Panics
    /// When it is not there or no YAML.
    #[must_use]
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        Self { root: serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}")) }
    }

    /// Launches it with these parameters and the defaults of the others.
    ///
    /// # Panics
    /// When it uses something that is not played here.
    #[must_use]
    pub fn launch(&self, stack: &str, parameters: &[(&str, &str)]) -> Stack {
        let mut scope = Scope { template: self, stack, values: BTreeMap::new() };
        for (name, parameter) in mapping(&self.root["Parameters"]) {
            let default = scalar(&parameter["Default"]);
            let given = parameters.iter().find(|(given, _)| *given == name);
            let value = given.map(|(_, value)| (*value).to_owned()).or(default);
            let value = value.unwrap_or_else(|| panic!("{name} has no default"));
            let is_list = parameter["Type"].as_str() == Some("CommaDelimitedList");
            let value = if is_list {
                Json::Array(value.split(',').map(|one| Json::String(one.to_owned())).collect())
            } else {
                Json::String(value)
            };
            scope.values.insert(name, value);
        }
        for (given, _) in parameters {
            assert!(scope.values.contains_key(*given), "no parameter {given}");
        }
        let mut resources = BTreeMap::new();
        for (name, resource) in scope.expanded(&self.root["Resources"]) {
            if let Some(resource) = resource.create() {
                resources.insert(name, resource);
            }
        }
        Stack { resources }
    }

    /// The template's resources by logical ID, as they are written.
    pub fn resources(&self) -> impl Iterator<Item = (String, &Yaml)> {
        mapping(&self.root["Resources"])
    }
}

fn mapping(value: &Yaml) -> impl Iterator<Item = (String, &Yaml)> {
    let pairs = value.as_mapping().expect("a mapping").iter();
    pairs.map(|(name, value)| (scalar(name).expect("a name"), value))
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(is_true) => Some(is_true.to_string()),
        _ => None,
    }
}

/// What names mean: parameters, and the variables of loops.
#[derive(Clone)]
struct Scope<'a> {
    template: &'a Template,
    stack: &'a str,
    values: BTreeMap<String, Json>,
}

struct Written<'a> {
    scope: Scope<'a>,
    body: &'a Yaml,
}

impl Written<'_> {
    fn create(&self) -> Option<Resource> {
        let holds = self.body["Condition"].as_str().is_none_or(|name| self.scope.condition(name));
        holds.then(|| Resource {
            kind: self.body["Type"].as_str().expect("a type").to_owned(),
            properties: self.scope.resolve(&self.body["Properties"]).unwrap_or(Json::Null),
        })
    }
}

impl<'a> Scope<'a> {
    /// Resources with loops unrolled.
    fn expanded(&self, resources: &'a Yaml) -> Vec<(String, Written<'a>)> {
        let mut all = Vec::new();
        for (name, body) in mapping(resources) {
            if !name.starts_with("Fn::ForEach::") {
                all.push((name, Written { scope: self.clone(), body }));
                continue;
            }
            let variable = body[0].as_str().expect("a loop's variable");
            let list = self.resolve(&body[1]).expect("a loop's list");
            for value in list.as_array().expect("a loop's list") {
                let mut scope = self.clone();
                scope.values.insert(variable.to_owned(), value.clone());
                let text: String =
                    text_of(value).chars().filter(char::is_ascii_alphanumeric).collect();
                for (name, body) in mapping(&body[2]) {
                    let name = name.replace(&format!("&{{{variable}}}"), &text);
                    all.push((name, Written { scope: scope.clone(), body }));
                }
            }
        }
        all
    }

    fn condition(&self, name: &str) -> bool {
        let condition = &self.template.root["Conditions"][name];
        assert!(!condition.is_null(), "no condition {name}");
        self.holds(condition)
    }

    fn holds(&self, condition: &Yaml) -> bool {
        let (function, of) = intrinsic(condition).expect("a condition");
        let all = || of.as_sequence().expect("a list of conditions").iter();
        match &*function {
            "Condition" => self.condition(of.as_str().expect("a condition's name")),
            "Not" => !self.holds(&of[0]),
            "And" => all().all(|condition| self.holds(condition)),
            "Or" => all().any(|condition| self.holds(condition)),
            "Equals" => self.resolve(&of[0]) == self.resolve(&of[1]),
            _ => panic!("{function} is no condition"),
        }
    }

    /// A value with every function in it resolved; `None` for `AWS::NoValue`.
    fn resolve(&self, value: &Yaml) -> Option<Json> {
        if let Some((function, of)) = intrinsic(value) {
            return self.call(&function, of);
        }
        Some(match value {
            Yaml::Null => Json::Null,
            Yaml::Bool(is_true) => Json::Bool(*is_true),
            Yaml::Number(_) => serde_json::to_value(value).expect("a number"),
            Yaml::String(text) => Json::String(text.clone()),
            Yaml::Sequence(values) => {
                Json::Array(values.iter().filter_map(|value| self.resolve(value)).collect())
            }
            Yaml::Mapping(_) => {
                let resolved = mapping(value).filter_map(|(k, v)| Some((k, self.resolve(v)?)));
                Json::Object(resolved.collect::<Map<_, _>>())
            }
            Yaml::Tagged(tagged) => panic!("{} is not played here", tagged.tag),
        })
    }

    fn call(&self, function: &str, of: &Yaml) -> Option<Json> {
        let text = |value: &Yaml| text_of(&self.resolve(value).expect("a value"));
        let list = |value: &Yaml| match self.resolve(value) {
            Some(Json::Array(values)) => values,
            other => panic!("{other:?} is no list"),
        };
        match function {
            "Ref" if of.as_str() == Some("AWS::NoValue") => None,
            "Ref" => Some(self.reference(of.as_str().expect("a name"))),
            "GetAtt" => {
                let path = of.as_str().map_or_else(|| list(of), |path| vec![path.into()]);
                let path: Vec<String> = path.iter().map(text_of).collect();
                Some(Json::String(self.attribute(&path.join("."))))
            }
            "If" => {
                let holds = self.condition(of[0].as_str().expect("a condition's name"));
                self.resolve(&of[if holds { 1 } else { 2 }])
            }
            "Join" => {
                let parts: Vec<String> = list(&of[1]).iter().map(text_of).collect();
                Some(Json::String(parts.join(&text(&of[0]))))
            }
            "Select" => {
                let place: usize = text(&of[0]).parse().expect("a place");
                list(&of[1]).get(place).cloned()
            }
            "Split" => {
                let (by, whole) = (text(&of[0]), text(&of[1]));
                Some(whole.split(&*by).map(str::to_owned).collect::<Vec<_>>().into())
            }
            "Sub" => Some(Json::String(match of {
                Yaml::Sequence(parts) => {
                    let mut scope = self.clone();
                    for (name, value) in mapping(&parts[1]) {
                        scope.values.insert(name, self.resolve(value).expect("a value"));
                    }
                    scope.substitute(parts[0].as_str().expect("a text"))
                }
                text => self.substitute(text.as_str().expect("a text")),
            })),
            _ => panic!("{function} is not played here"),
        }
    }

    fn substitute(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').expect("a closing bracket");
            out.push_str(before);
            if name.contains('.') {
                out.push_str(&self.attribute(name));
            } else {
                out.push_str(&text_of(&self.reference(name)));
            }
            rest = after;
        }
        out + rest
    }

    fn reference(&self, name: &str) -> Json {
        let pseudo = match name {
            "AWS::StackName" => Some(self.stack),
            "AWS::StackId" => Some("arn:aws:cloudformation:eu-central-1:000000000000:stack/s/u"),
            "AWS::AccountId" => Some("000000000000"),
            "AWS::Region" => Some("eu-central-1"),
            "AWS::Partition" => Some("aws"),
            "AWS::URLSuffix" => Some("amazonaws.com"),
            _ => None,
        };
        if let Some(pseudo) = pseudo {
            return pseudo.into();
        }
        self.values.get(name).cloned().unwrap_or_else(|| self.physical_name(name).into())
    }

    fn attribute(&self, path: &str) -> String {
        let (resource, attribute) = path.split_once('.').expect("a resource and an attribute");
        let name = self.physical_name(resource);
        if attribute.ends_with("Name") { name } else { format!("{name}.{attribute}") }
    }

    fn physical_name(&self, resource: &str) -> String {
        let body = &self.template.root["Resources"][resource];
        assert!(!body.is_null(), "nothing is called {resource}");
        let names = [
            "FunctionName",
            "QueueName",
            "AlarmName",
            "LogGroupName",
            "DeliveryStreamName",
            "Name",
        ];
        // A mapping names its function, and is called by an ID of its own.
        let is_named = body["Type"].as_str() != Some("AWS::Lambda::EventSourceMapping");
        let named = names.iter().find_map(|name| body["Properties"].get(name));
        let named = named.filter(|_| is_named);
        named.map_or_else(
            || format!("{}-{resource}", self.stack),
            |name| text_of(&self.resolve(name).expect("a name")),
        )
    }
}

/// The function and what it is called with, when a value is one, in its short or its long form.
fn intrinsic(value: &Yaml) -> Option<(String, &Yaml)> {
    match value {
        Yaml::Tagged(tagged) => {
            Some((tagged.tag.to_string().trim_start_matches('!').to_owned(), &tagged.value))
        }
        Yaml::Mapping(pairs) if pairs.len() == 1 => {
            let (name, of) = pairs.iter().next()?;
            let name = name.as_str()?;
            let function = name.strip_prefix("Fn::").or((name == "Ref").then_some("Ref"))?;
            Some((function.to_owned(), of))
        }
        _ => None,
    }
}

fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_conditions_and_loops_are_resolved() {
        let template = Template::read("log-processing.yaml");
        let code = [("CodeS3Bucket", "bucket"), ("CodeS3Key", "key")];
        let alone = template.launch("s", &code);
        let processor = &alone.resources["Processor"].properties;
        assert_eq!(processor["FunctionName"], "sluice-log-processor");
        assert_eq!(processor["Environment"]["Variables"]["STREAM_NAME"], "sluice");
        assert!(processor.get("VpcConfig").is_none());
        assert!(!alone.resources.keys().any(|name| name.starts_with("Subscription")));
        assert!(!alone.resources.contains_key("Replayer"));

        let groups = [("LogGroupNames", "/app/web,/app/b"), ("CodeS3KeyDlqReplayer", "key")];
        let stack = template.launch("s", &[&code[..], &groups].concat());
        let filter = &stack.resources["Subscriptionappweb"].properties;
        assert_eq!(filter["LogGroupName"], "/app/web");
        assert!(stack.resources.contains_key("Subscriptionappb"));
        assert_eq!(stack.resources["Replayer"].properties["FunctionName"], "s-dlq-replayer");
    }
}
