"""The dashboards of deploy/grafana, written with the Grafana Foundation SDK.

python -m scripts.dashboards               # rewrites deploy/grafana/dashboards
python -m scripts.dashboards --out DIR     # the same into DIR (tests/deploy/test_dashboards.py)
"""
