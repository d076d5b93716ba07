use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

/// Metrics in the order in which they are shown.
#[derive(Debug, Default)]
pub struct Families {
    list: Vec<MetricFamily>,
}

/// One metric that series are added to.
#[derive(Debug)]
pub struct Family<'a> {
    family: &'a mut MetricFamily,
}

impl Families {
    /// A counter; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.begin(name, help, MetricType::COUNTER)
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.begin(name, help, MetricType::GAUGE)
    }

    /// A histogram; see [`Family::observe`].
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.begin(name, help, MetricType::HISTOGRAM)
    }

    fn begin(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        self.list.push(family);
        let last = self.list.len() - 1;
        Family { family: &mut self.list[last] }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a metric's name is impossible.
    pub fn encode(mut self) -> prometheus::Result<Vec<u8>> {
        self.list.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.list, &mut text)?;
        Ok(text)
    }
}

impl Family<'_> {
    /// Adds a series to a histogram: (upper bound in seconds, observations up to
    /// it), the sum of all in seconds, their number.
    pub fn observe(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) -> &mut Self {
        let buckets = buckets.map(|(bound, cumulative)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_sum(sum);
        histogram.set_sample_count(count);
        let mut metric = metric(labels);
        metric.set_histogram(histogram);
        self.family.mut_metric().push(metric);
        self
    }

    /// Adds a series.
    pub fn add(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let mut metric = metric(labels);
        if self.family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.family.mut_metric().push(metric);
        self
    }

    /// Adds a series of whole numbers.
    pub fn count(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.add(labels, value as f64)
    }
}

fn metric(labels: &[(&str, &str)]) -> Metric {
    let labels = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(labels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut families = Families::default();
        families.counter("a_total", "All a.").count(&[("port", "x\"y")], 3).count(&[], 4);
        families.gauge("empty", "Not shown.");
        families.gauge("b", "B.").add(&[], 0.5);
        let buckets = [(0.1, 1), (1.0, 2)];
        families.histogram("h_seconds", "H.").observe(&[], buckets.into_iter(), 0.75, 3);
        let text = String::from_utf8(families.encode().unwrap()).unwrap();
        assert_eq!(
            text,
            "# HELP a_total All a.\n# TYPE a_total counter\n\
             a_total{port=\"x\\\"y\"} 3\na_total 4\n\
             # HELP b B.\n# TYPE b gauge\nb 0.5\n\
             # HELP h_seconds H.\n# TYPE h_seconds histogram\n\
             h_seconds_bucket{le=\"0.1\"} 1\nh_seconds_bucket{le=\"1\"} 2\n\
             h_seconds_bucket{le=\"+Inf\"} 3\nh_seconds_sum 0.75\nh_seconds_count 3\n"
        );
    }
}
