//! Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use super::registry::{Bucket, Family, Kind, Labels, Value};

/// All metrics as text.
pub(crate) fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let Family { name, help, kind, series } = family;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in series {
            match value {
                Value::Number(number) => line(&mut text, name, labels, None, *number),
                Value::Histogram { bounds, buckets } => histogram(&mut text, name, labels, bounds, buckets),
            }
        }
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: &Labels, bounds: &[f64], buckets: &[Bucket]) {
    let mut count = 0;
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    for (bound, bucket) in bounds.zip(buckets) {
        count += bucket.count;
        let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        line(text, &format!("{name}_bucket"), labels, Some(&bound), count as f64);
    }
    let sum = buckets.iter().map(|bucket| bucket.sum).sum();
    line(text, &format!("{name}_sum"), labels, None, sum);
    line(text, &format!("{name}_count"), labels, None, count as f64);
}

fn line(text: &mut String, name: &str, labels: &Labels, bound: Option<&str>, value: f64) {
    text.push_str(name);
    let labels = labels.iter().map(|(name, value)| (&**name, &**value));
    let mut begin = '{';
    for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{begin}{name}=\"{value}\"");
        begin = ',';
    }
    if begin == ',' {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::Registry;
    use super::text;

    #[test]
    fn counters_gauges_and_histograms_are_written_with_their_help_and_odd_labels() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            metrics::describe_counter!("larder_spared_nanoseconds_total", "Time \\ that was\nspared.");
            metrics::counter!("larder_spared_nanoseconds_total", "scope" => "a\"b\\c\n")
                .increment(1_500_000_000);
            metrics::gauge!("larder_tier_up").set(1.0);
            metrics::histogram!("larder_value_bytes", "tier" => "disk").record_many(100.0, 2);
        });
        let all = text(&registry.families());
        let (head, rest) = all.split_at(all.find("le=\"1024\"").unwrap());
        expect![[r#"
            # HELP larder_spared_seconds_total Time \\ that was\nspared.
            # TYPE larder_spared_seconds_total counter
            larder_spared_seconds_total{scope="a\"b\\c\n"} 1.5
            # HELP larder_tier_up 
            # TYPE larder_tier_up gauge
            larder_tier_up 1
            # HELP larder_value_bytes 
            # TYPE larder_value_bytes histogram
            larder_value_bytes_bucket{tier="disk",le="64"} 0
            larder_value_bytes_bucket{tier="disk",le="256"} 2
            larder_value_bytes_bucket{tier="disk","#]]
        .assert_eq(head);
        let end = rest.split_once("+Inf").unwrap().1;
        expect![[r#"
            "} 2
            larder_value_bytes_sum{tier="disk"} 200
            larder_value_bytes_count{tier="disk"} 2
        "#]]
        .assert_eq(end);
    }
}
