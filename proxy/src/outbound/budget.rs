//! ServiceProfile retry budgets: how many requests may be sent again, in proportion to those that were sent, over a
//! sliding time. One per profile and proxy, whatever the number of workers.

use crate::control::model::profile::RetryBudget;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
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

    fn is_idle(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.elapsed() >= self.config.ttl
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

/// The proxy's budgets, by profile: they outlast the routes of one update. One whose numbers have changed begins anew.
#[derive(Default)]
pub struct Budgets(Mutex<HashMap<Arc<str>, Arc<Budget>>>);

impl Budgets {
    pub fn get(&self, profile: Arc<str>, config: RetryBudget) -> Arc<Budget> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(&profile).filter(|b| b.config == config) {
            return budget.clone();
        }
        // What nobody has and nobody has used for its time is as good as new.
        budgets.retain(|_, budget| Arc::strong_count(budget) > 1 || !budget.is_idle());
        let budget = Arc::new(Budget::new(config));
        budgets.insert(profile, budget.clone());
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

    #[tokio::test(start_paused = true)]
    async fn a_profile_has_one_budget_until_its_numbers_change() {
        let budgets = Budgets::default();
        let first = budgets.get("web:80".into(), config(0.2, 10));
        assert!(Arc::ptr_eq(&first, &budgets.get("web:80".into(), config(0.2, 10))));
        assert!(!Arc::ptr_eq(&first, &budgets.get("web:80".into(), config(0.3, 10))));
        budgets.get("other:80".into(), config(0.2, 10));
        assert_eq!(budgets.0.lock().unwrap().len(), 2);
        tokio::time::advance(Duration::from_secs(11)).await;
        budgets.get("third:80".into(), config(0.2, 10));
        assert_eq!(budgets.0.lock().unwrap().len(), 1);
    }
}
