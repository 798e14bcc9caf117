"""Plan, execution and assembly of an audit."""
