//! How many threads serve best: one for each fast core that this process may use.
//!
//! Two threads of one core share its arithmetic units and gain nothing here. A slow core beside fast ones gains little,
//! and what waits for it loses.

/// The default number of threads.
pub fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let physical = num_cpus::get_physical();
    performance_cores().unwrap_or(physical).min(physical).clamp(1, allowed)
}

/// The physical cores of the fastest kind, where the system tells kinds apart.
#[cfg(target_vendor = "apple")]
fn performance_cores() -> Option<usize> {
    let output = std::process::Command::new("/usr/sbin/sysctl").args(["-n", "hw.perflevel0.physicalcpu"]).output();
    parse_count(&String::from_utf8(output.ok()?.stdout).ok()?)
}

/// The physical cores of the fastest kind, where the system tells kinds apart.
#[cfg(target_os = "linux")]
fn performance_cores() -> Option<usize> {
    use std::fs::read_to_string as read;
    let cpu = |cpu: usize, file: &str| read(format!("/sys/devices/system/cpu/cpu{cpu}/{file}")).ok();
    let fast = match read("/sys/devices/cpu_core/cpus") {
        Ok(list) => cpu_list(&list)?,
        Err(_) => {
            let all = cpu_list(&read("/sys/devices/system/cpu/online").ok()?)?;
            let capacities = all.into_iter().map(|i| Some((i, parse_count(&cpu(i, "cpu_capacity")?)?)));
            largest(&capacities.collect::<Option<Vec<_>>>()?)
        }
    };
    // Threads of one core name the same siblings.
    let siblings = fast.iter().map(|&i| cpu(i, "topology/thread_siblings_list").unwrap_or_else(|| i.to_string()));
    Some(siblings.collect::<std::collections::BTreeSet<_>>().len()).filter(|&count| count > 0)
}

/// The physical cores of the fastest kind, where the system tells kinds apart.
#[cfg(not(any(target_vendor = "apple", target_os = "linux")))]
fn performance_cores() -> Option<usize> {
    None
}

/// A list of processors as Linux writes it: `0-3,8`.
#[cfg(any(test, target_os = "linux"))]
fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut list = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        list.extend((first..=last).take(1 << 16));
    }
    Some(list)
}

/// The processors whose capacity is near the largest. Big cores of one machine may differ a little; little ones have half.
#[cfg(any(test, target_os = "linux"))]
fn largest(capacities: &[(usize, usize)]) -> Vec<usize> {
    let most = capacities.iter().map(|(_, capacity)| *capacity).max().unwrap_or(0);
    capacities.iter().filter(|(_, capacity)| 4 * capacity >= 3 * most).map(|(cpu, _)| *cpu).collect()
}

/// A number on a line of its own.
#[cfg(any(test, target_vendor = "apple", target_os = "linux"))]
fn parse_count(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_what_is_allowed() {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=allowed).contains(&default_threads()));
    }

    #[test]
    fn lists_of_processors() {
        // Eight fast cores with two threads each, two of them, and lists with gaps.
        assert_eq!(cpu_list("0-15\n").unwrap().len(), 16);
        assert_eq!(cpu_list("0-3\n"), Some(vec![0, 1, 2, 3]));
        assert_eq!(cpu_list("0,2-3,8\n"), Some(vec![0, 2, 3, 8]));
        for wrong in ["", "\n", "a", "1-", "0-3;5"] {
            assert_eq!(cpu_list(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn big_cores_by_capacity() {
        // As boards with two kinds of cores give them, and phones with three.
        let numbered = |capacities: &[usize]| capacities.iter().copied().enumerate().collect::<Vec<_>>();
        assert_eq!(largest(&numbered(&[485, 485, 485, 485, 1024, 1024])), [4, 5]);
        assert_eq!(largest(&numbered(&[325, 325, 325, 784, 784, 828, 828, 1024])), [3, 4, 5, 6, 7]);
        assert_eq!(largest(&numbered(&[1024; 4])), [0, 1, 2, 3]);
        assert_eq!(parse_count("1024\n"), Some(1024));
        assert_eq!(parse_count("none"), None);
    }
}
