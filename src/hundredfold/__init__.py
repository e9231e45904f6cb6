"""hundredfold"""
