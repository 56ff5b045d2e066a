//! What a server's process holds right now, from its page of metrics. In: the page. Out: sums over its partitions. A process
//! without the role of the processor holds nothing.

/// What is held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gauges {
    /// Partitions that the process decides for.
    pub partitions: u64,
    /// Open windows.
    pub open_windows: f64,
    /// Bytes spent on them.
    pub windows_bytes: f64,
    /// The age of the oldest, in seconds.
    pub oldest_window_seconds: f64,
    /// Delivery ids that are remembered.
    pub dedupe_ids: f64,
    /// Bytes spent on them.
    pub dedupe_bytes: f64,
    /// Objects that are known.
    pub objects: f64,
    /// Bytes spent on them.
    pub objects_bytes: f64,
    /// Bytes spent on what is set aside.
    pub set_aside_bytes: f64,
    /// Messages that are not decided yet.
    pub lag: f64,
    /// Events that were not checked because a table was full, since the process began.
    pub unchecked: f64,
}

impl Gauges {
    /// Reads a page in Prometheus's text format; what it does not name is zero.
    #[must_use]
    pub fn read(page: &str) -> Self {
        let mut gauges = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let name = name.split('{').next().unwrap_or(name);
            if let Ok(value) = value.parse::<f64>() {
                gauges.take(name, value);
            }
        }
        gauges
    }

    fn take(&mut self, name: &str, value: f64) {
        match name.strip_prefix("tidegate_processor_") {
            Some("open_windows") => {
                self.open_windows += value;
                self.partitions += 1;
            }
            Some("windows_bytes") => self.windows_bytes += value,
            Some("oldest_window_seconds") => {
                self.oldest_window_seconds = self.oldest_window_seconds.max(value)
            }
            Some("dedupe_ids") => self.dedupe_ids += value,
            Some("dedupe_bytes") => self.dedupe_bytes += value,
            Some("objects") => self.objects += value,
            Some("objects_bytes") => self.objects_bytes += value,
            Some("set_aside_bytes") => self.set_aside_bytes += value,
            Some("lag_messages") => self.lag += value,
            Some("flood_full_total") => self.unchecked += value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_summed_and_the_oldest_window_counts() {
        let page = "# TYPE tidegate_processor_open_windows gauge\n\
            tidegate_processor_open_windows{partition=\"0\"} 3\n\
            tidegate_processor_open_windows{partition=\"1\"} 4\n\
            tidegate_processor_oldest_window_seconds{partition=\"0\"} 1.5\n\
            tidegate_processor_oldest_window_seconds{partition=\"1\"} 0.5\n\
            tidegate_processor_windows_total 9\n\
            tidegate_processor_lag_messages{partition=\"1\"} 12\nnonsense\n";
        let expected = Gauges {
            partitions: 2,
            open_windows: 7.0,
            oldest_window_seconds: 1.5,
            lag: 12.0,
            ..Gauges::default()
        };
        assert_eq!(Gauges::read(page), expected);
    }
}
