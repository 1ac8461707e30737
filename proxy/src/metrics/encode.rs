//! Writes families and samples in the Prometheus text format.

use super::registry::HistogramCell;
use super::{Family, Kind, Unit};
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

#[derive(Default)]
pub struct Encoder(String);

impl Encoder {
    pub fn family(&mut self, family: &Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::GaugeSeconds => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let Family { name, help, .. } = family;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        if labels.is_empty() {
            self.write(format_args!("{name} {value}\n"));
        } else {
            self.write(format_args!("{name}{{{labels}}} {value}\n"));
        }
    }

    pub(super) fn histogram(&mut self, name: &str, labels: &str, cell: &HistogramCell) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (at, count) in cell.counts.iter().enumerate() {
            total += count.load(Relaxed);
            match cell.buckets.bounds.get(at) {
                Some(bound) => self.write(format_args!(
                    "{name}_bucket{{{labels}{comma}le=\"{}\"}} {total}\n",
                    in_unit(*bound, cell.buckets.unit)
                )),
                None => self.write(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}\n")),
            }
        }
        self.sample(&format!("{name}_count"), labels, total);
        self.sample(&format!("{name}_sum"), labels, in_unit(cell.sum.load(Relaxed), cell.buckets.unit));
    }

    pub fn finish(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }

    fn write(&mut self, args: std::fmt::Arguments<'_>) {
        self.0.write_fmt(args).expect("a String takes every write");
    }
}

pub(super) fn in_unit(value: u64, unit: Unit) -> f64 {
    match unit {
        Unit::Seconds => value as f64 / 1e9,
        Unit::Milliseconds => value as f64 / 1e6,
        Unit::Bytes => value as f64,
    }
}
