//! The defaults of `infra/autoscaling.yaml`, which is the one place that has them.

/// The template's text.
const TEXT: &str = include_str!("../../../infra/autoscaling.yaml");

/// Parameters with their defaults.
pub struct Template {
    text: &'static str,
}

impl Default for Template {
    fn default() -> Self {
        Self { text: TEXT }
    }
}

impl Template {
    /// A parameter's default.
    ///
    /// # Panics
    /// When the template has no such parameter, which a test would show.
    #[must_use]
    pub fn text(&self, name: &str) -> &'static str {
        let (_, parameters) = self.text.split_once("\nParameters:\n").expect("parameters");
        let head = format!("\n  {name}:\n");
        let (_, rest) =
            parameters.split_once(&head).unwrap_or_else(|| panic!("no parameter {name}"));
        let default = rest.lines().take_while(|line| line.starts_with("    "));
        default
            .filter_map(|line| line.trim().strip_prefix("Default: "))
            .map(|value| value.trim_matches('"'))
            .next()
            .unwrap_or_else(|| panic!("no default of {name}"))
    }

    /// A parameter's default, a number.
    #[must_use]
    pub fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("the default of {name} is no number"))
    }

    /// The hours, from and until, of a default such as `cron(0/10 1-4 * * ? *)`.
    #[must_use]
    pub fn hours(&self, name: &str) -> (u64, u64) {
        let hours = self.text(name).split(' ').nth(1).unwrap_or_default();
        if hours == "*" {
            return (0, 24);
        }
        let (from, last) = hours.split_once('-').unwrap_or((hours, hours));
        let hour = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("no hour in {name}"));
        (hour(from), hour(last) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_template() {
        let template = Template::default();
        assert_eq!(template.number("ReshardCallsMax"), 10.0);
        assert_eq!(template.text("TimeZone"), "UTC");
        let (from, until) = template.hours("OffPeakSchedule");
        assert!(from < until && until <= 24);
    }
}
