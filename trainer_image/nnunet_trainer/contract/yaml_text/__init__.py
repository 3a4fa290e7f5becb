"""YAML and JSON as `kubectl apply -f` reads them, and YAML that both it and this package read back unchanged.

The rules are those of the Go modules that kubectl reads with: sigs.k8s.io/yaml for one document (YAML 1.1 without base 60,
dates as text, keys as strings, no number that JSON cannot hold), k8s.io/apimachinery for a file of several. PyYAML parses;
what a scalar means is decided here.
"""
