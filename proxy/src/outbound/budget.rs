//! ServiceProfile retry budgets: how many requests may be sent again, in proportion to those that were sent, over a
//! sliding time. One per profile and proxy, whatever the number of workers.

use crate::control::model::profile::RetryBudget;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::time::Instant;

/// The time slides by this part of itself.
const SLOTS: usize = 10;

pub struct Budget {
    config: RetryBudget,
    state: Mutex<State>,
}

struct State {
    /// What was put in and taken out, by when.
    slots: [f64; SLOTS],
    current: usize,
    since: Instant,
}

impl Budget {
    pub fn new(config: RetryBudget) -> Self {
        let state = State { slots: [0.0; SLOTS], current: 0, since: Instant::now() };
        Self { config, state: Mutex::new(state) }
    }

    /// Counts a request that is not sent again.
    pub fn deposit(&self) {
        self.change(|slots, current| slots[current] += f64::from(self.config.ratio));
    }

    /// Whether a request may be sent again; counts it.
    pub fn withdraw(&self) -> bool {
        let reserve = f64::from(self.config.min_per_second) * self.config.ttl.as_secs_f64();
        self.change(|slots, current| {
            // A rounding error must not cost a retry.
            let has_one = slots.iter().sum::<f64>() + reserve >= 1.0 - 1e-6;
            slots[current] -= if has_one { 1.0 } else { 0.0 };
            has_one
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut [f64; SLOTS], usize) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.config.ttl / SLOTS as u32;
        let now = Instant::now();
        for _ in 0..SLOTS {
            if now - state.since < slot {
                break;
            }
            state.since += slot;
            state.current = (state.current + 1) % SLOTS;
            let current = state.current;
            state.slots[current] = 0.0;
        }
        if now - state.since >= slot {
            // All of it is past.
            state.since = now;
        }
        let current = state.current;
        change(&mut state.slots, current)
    }
}

/// The proxy's budgets, by profile; one whose numbers have changed begins anew.
#[derive(Default)]
pub struct Budgets(Mutex<HashMap<Arc<str>, Weak<Budget>>>);

impl Budgets {
    pub fn get(&self, profile: Arc<str>, config: RetryBudget) -> Arc<Budget> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(&profile).and_then(Weak::upgrade).filter(|b| b.config == config) {
            return budget;
        }
        budgets.retain(|_, budget| budget.strong_count() > 0);
        let budget = Arc::new(Budget::new(config));
        budgets.insert(profile, Arc::downgrade(&budget));
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const fn config(ratio: f32, min_per_second: u32) -> RetryBudget {
        RetryBudget { ratio, min_per_second, ttl: Duration::from_secs(10) }
    }

    fn withdrawals(budget: &Budget) -> usize {
        (0..1000).take_while(|_| budget.withdraw()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_requests_can_be_sent_again() {
        let budget = Budget::new(config(0.2, 0));
        assert!(!budget.withdraw());
        (0..50).for_each(|_| budget.deposit());
        assert_eq!(withdrawals(&budget), 10);
        (0..50).for_each(|_| budget.deposit());
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(withdrawals(&budget), 0, "what is past counts no more");
    }

    #[tokio::test(start_paused = true)]
    async fn some_can_be_sent_again_whatever_the_share() {
        let budget = Budget::new(config(0.0, 3));
        assert_eq!(withdrawals(&budget), 30);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(withdrawals(&budget), 0);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(withdrawals(&budget), 30);
    }

    #[test]
    fn a_profile_has_one_budget_until_its_numbers_change() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let budgets = Budgets::default();
        let first = budgets.get("web:80".into(), config(0.2, 10));
        assert!(Arc::ptr_eq(&first, &budgets.get("web:80".into(), config(0.2, 10))));
        assert!(!Arc::ptr_eq(&first, &budgets.get("web:80".into(), config(0.3, 10))));
    }
}
