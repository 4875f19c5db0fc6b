"""The demo: a month of real predictions with three injected incidents, live, and what Interlock makes of them."""
